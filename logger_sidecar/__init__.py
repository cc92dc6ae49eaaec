"""The proxy in front of a model server: it logs every inference without harm, spools it and ships it.

``server.run`` is the sidecar process, ``shipper`` its child that moves the spool to Kafka, ``spool.SpoolSource`` the
reader of the spool for whoever lives on the same machine.
"""
