"""The language of a track in MP4, which has three letters for it (ISO 14496-12: ISO 639-2/T)."""

import re

_TWO_TO_THREE: dict[str, str] = dict(
    re.findall(
        "(..):(...)",
        "af:afr am:amh ar:ara as:asm az:aze ba:bak be:bel bg:bul bn:ben bo:bod br:bre bs:bos ca:cat cs:ces cy:cym "
        "da:dan de:deu el:ell en:eng es:spa et:est eu:eus fa:fas fi:fin fo:fao fr:fra ga:gle gl:glg gu:guj ha:hau "
        "he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye id:ind is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm kn:kan "
        "ko:kor la:lat lb:ltz ln:lin lo:lao lt:lit lv:lav mg:mlg mi:mri mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt "
        "my:mya nb:nob ne:nep nl:nld nn:nno no:nor oc:oci pa:pan pl:pol ps:pus pt:por ro:ron ru:rus sa:san sd:snd "
        "si:sin sk:slk sl:slv sn:sna so:som sq:sqi sr:srp su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha tk:tuk "
        "tl:tgl tr:tur tt:tat uk:ukr ur:urd uz:uzb vi:vie yi:yid yo:yor zh:zho zu:zul",
    )
)


def three_letters(tag: str | None) -> str:
    """ "pt-BR" → "por", "yue" → "yue"; "und" where the language is unknown."""
    primary = (tag or "").lower().partition("-")[0]
    if len(primary) == 3 and primary.isascii() and primary.isalpha():
        return primary
    return _TWO_TO_THREE.get(primary, "und")
