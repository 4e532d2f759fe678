"""Characters that a person takes for others. Pure.

A selection from Unicode's `confusables.txt` (UTS #39): letters and digits of scripts in use, and signs that names have.
What Unicode itself decomposes (NFKD), such as fullwidth letters, is not in it.
"""

from __future__ import annotations

import re
import unicodedata

LOOK_ALIKES = {
    "!": "ǃ",
    "'": "ʹʻʼʽʾˈˊˋ˴՚՝ᑊ‘’‛′ꞌ",
    ",": "‚",
    "-": "˗‐‒–⁃−Ⲻ",
    ".": "ꓸ",
    ":": "ː˸։∶ꓽ꞉",
    "2": "ƧϨᒿꙄꝚ",
    "3": "ƷȜЗӠⳌꝪꞫ",
    "4": "Ꮞ",
    "5": "Ƽ",
    "6": "бᏮⳒ",
    "8": "Ȣȣ",
    "9": "ⳊꝮ",
    "A": "ΑАᎪᗅꓮ",
    "B": "ΒВᏴᗷꓐꞴ",
    "C": "СᏟⲤꓚ",
    "D": "Ꭰᗞᗪꓓ",
    "E": "ΕЕᎬⴹꓰ",
    "F": "ϜᖴꓝꞘ",
    "G": "ԌᏀᏳꓖ",
    "H": "ΗНᎻᕼⲎꓧ",
    "I": "ΙІӀⲒⵏꓲ",
    "J": "ͿЈᎫᒍꓙꞲ",
    "K": "ΚКᏦⲔꓗ",
    "L": "ᏞᒪⳐꓡ",
    "M": "ΜϺМᎷᗰⲘꓟ",
    "N": "ΝⲚꓠ",
    "O": "ΟОՕⲞⵔꓳ",
    "P": "ΡРᏢᑭⲢꓑ",
    "Q": "ⵕ",
    "R": "ƦᎡᏒᖇꓣ",
    "S": "ЅՏᏕᏚꓢ",
    "T": "ΤТᎢⲦꓔ",
    "U": "Սᑌꓴ",
    "V": "ѴᏙᐯⴸꓦ",
    "W": "ԜᎳᏔꓪ",
    "X": "ΧХ᙭ⲬⵝꓫꞳ",
    "Y": "ΥУҮᎩᎽⲨꓬ",
    "Z": "ΖᏃꓜ",
    "a": "ɑαа",
    "b": "ƄЬᏏᑲᖯ",
    "c": "сᴄⲥꮯ",
    "d": "ԁᏧᑯꓒ",
    "e": "еҽꬲ",
    "f": "ẝꞙꬵ",
    "g": "ƍɡց",
    "h": "һհᏂ",
    "i": "ıɩɪιіᎥꙇꭵ",
    "j": "ϳј",
    "k": "ĸκк",
    "l": "Ɩǀӏ",
    "n": "ոռ",
    "o": "οоօჿᴏᴑⲟꬽ",
    "p": "ρрⲣ",
    "q": "ԛգզ",
    "r": "гᴦⲅꭇꭈꮁ",
    "s": "ƽѕꜱꮪ",
    "u": "ʋυսᴜꞟꭎꭒ",
    "v": "νѵᴠꮩ",
    "w": "ɯѡԝաᴡꮃ",
    "x": "хᕁᕽ᙮",
    "y": "ʏуүყꭚ",
    "z": "ᴢꮓ",
    "Γ": "Г",
    "Π": "П",
    "Φ": "Ф",
    "エ": "工",
    "カ": "力",
    "タ": "夕",
    "ト": "卜",
    "ニ": "二",
    "ハ": "八",
    "ロ": "口",
    "へ": "ヘ",
    "ー": "一—―",
    " ": "\u115f\u1160\u2800\u3164\uffa0",
}
"""By what they are taken for."""
UNSEEN = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
"""Marks and fillers of which nothing is seen, though they count as printable: ranges, as in a pattern."""
DISGUISED = (
    "".join(row for plain, row in LOOK_ALIKES.items() if plain.isascii() and plain.isalnum()).replace("ı", "")
    + "\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff"
)
"""Letters that are taken for those of ASCII, in the same way; the ranges are fullwidth and mathematical ones. Not the
dotless i: words of Turkish have it beside letters of ASCII."""

_PLAIN = {ord(character): plain for plain, row in LOOK_ALIKES.items() for character in row}
_UNSEEN = re.compile(f"[{UNSEEN}]")


def look(text: str) -> str:
    """The same for texts that look the same."""
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFKD", text).translate(_PLAIN))
        if not text.isprintable():
            text = "".join(one for one in text if unicodedata.category(one) != "Cf")
    return " ".join(text.split())
