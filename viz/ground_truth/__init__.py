"""Pictures and networks of which it is known what matters, so that attributions can be marked right or wrong."""
