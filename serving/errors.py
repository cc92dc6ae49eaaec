"""The model server's own errors. Bad input is a ``DecodeError``, as in the codecs."""

from driftline.errors import DriftlineError, FaultsError, PermanentError


class ModelConfigError(FaultsError):
    """A ``model.json`` is wrong; each fault names file, path and value."""


class UnknownModelError(PermanentError):
    """There is no such model or version."""


class ModelUnavailableError(DriftlineError):
    """The model is in the repository but could not be loaded; the message says why."""


class ModelFailedError(DriftlineError):
    """The model raised while predicting."""
