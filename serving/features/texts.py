"""Features of a text, without any model: how long it is, and in which script.

*Tokens* are counted by a rule that anybody can repeat, not by a model's vocabulary: every run of letters, digits and
underscores is one, every other visible character is one, and so is every Chinese, Japanese and Korean character.
*Words* are the same without the other characters. The vocabularies of language models count differently; the tokens
that a server counted itself are fields of its answer (``prompt_tokens``).
"""

import re
import unicodedata
from collections import Counter

_EAST_ASIAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORDS = re.compile(rf"[{_EAST_ASIAN}]|[^\W{_EAST_ASIAN}]+")
_TOKENS = re.compile(rf"[{_EAST_ASIAN}]|[^\W{_EAST_ASIAN}]+|[^\w\s]")
#: So many characters say the script of a text.
_LOOKED_AT = 2000
_SCRIPTS = {"CJK": "han", "HIRAGANA": "kana", "KATAKANA": "kana", "FULLWIDTH": "latin", "HALFWIDTH": "kana"}


def characters(text: str) -> int:
    """Unicode code points."""
    return len(text)


def words(text: str) -> int:
    """Words; see the module's docstring.

    >>> words("It's 3 o'clock."), words("你好 world")
    (5, 3)
    """
    return len(_WORDS.findall(text))


def tokens(text: str) -> int:
    """Tokens; see the module's docstring.

    >>> tokens("It's 3 o'clock."), tokens("你好 world!")
    (8, 4)
    """
    return len(_TOKENS.findall(text))


def size_bytes(text: str | bytes) -> int:
    """Bytes, of a text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else len(text)


def script(text: str) -> str | None:
    """The script of most of its letters, such as ``latin``, ``cyrillic``, ``han``, ``kana``; None without letters.

    >>> script("Привет, world of скриптов"), script("42!")
    ('cyrillic', None)
    """
    found: Counter[str] = Counter()
    for letter, count in Counter(text[:_LOOKED_AT]).items():
        if letter.isalpha():
            first = unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0]
            found[_SCRIPTS.get(first, first.lower())] += count
    return max(sorted(found), key=lambda name: found[name]) if found else None
