"""The file of a form (multipart/form-data), written out as it comes: nothing of it is kept in memory or elsewhere."""

from typing import BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from collector.labels.from_json import UploadError


class FormFile:
    """Writes the first part that has a file name to ``file``; raises UploadError on what is no form."""

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise UploadError("the form names no boundary")
        self.name: str | None = None
        self._file = file
        self._field = self._value = b""
        self._disposition = b""
        self._inside = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """The form's next bytes."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise UploadError(f"the form cannot be read: {error}") from error

    def close(self) -> None:
        """The form has ended; raises UploadError when it ended too early or held no file."""
        try:
            self._parser.finalize()
        except FormParserError as error:
            raise UploadError(f"the form ends too early: {error}") from error
        if self.name is None or self._inside:
            raise UploadError("the form has no file, or ends in the middle of it")

    # --- called by the parser -----------------------------------------------------------------------------------
    def _begin(self) -> None:
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"filename")
        if name is not None and self.name is None:
            self.name = name.decode("utf-8", "replace")
            self._inside = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self._inside = False
