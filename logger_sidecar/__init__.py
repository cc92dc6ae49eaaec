"""The sidecar: a proxy in front of a model server that logs every inference, spools it and ships it.

``server.run`` is the sidecar's process, ``shipping.shipper`` its child that delivers the spool to sinks, and
``spool.source.SpoolSource`` reads the spool for a collector on the same machine.
"""
