"""What Prometheus gets: on the controller about the fleet and itself, on each gateway about itself.

`families` names everything there is, `page` writes it; `fleet`, `controlling` and `gateway` read the counters of
whoever counts, at the time of a scrape; `server` is the controller's listener. Alert rules and the Grafana board lie
beside.
"""
