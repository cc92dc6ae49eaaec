"""HTTP/1.1 as it stands on the wire: heads, framing of bodies, one exchange; no sockets."""
