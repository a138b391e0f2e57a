"""How a fleet's parts come by certificates: the CA, invitations, the service that boards enrol and renew at."""
