"""The bodies of the REST API, one module for each noun: what the OpenAPI describes and every answer is checked against.

Their keys are the field names of the database's views, so that they are those of every `--json` output too; a test
compares the two.
"""
