"""Talk to a running server from Python: `OmniClient`, and `python -m client`."""

from client.omni_client import OmniClient, OmniClientError

__all__ = ["OmniClient", "OmniClientError"]
