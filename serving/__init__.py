"""What is known about model servers: codecs from payloads to columns, and a small server of the protocol.

The codecs (``decode_many`` and what it imports) need NumPy and msgspec only; scikit-learn, pandas, torch and FastAPI
are imported by the model server's modules alone.
"""
