"""SVG of figures: points that say what they are, and figures as parts of a page."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote
from xml.etree import ElementTree

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_LINK = f"{_XLINK}href"
_TIP = "tip:"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# Where things are, in points, and numbers that are more exact than anyone sees.
_PLACES = {"d", "x", "y"}
_LONG = re.compile(r"-?\d+\.\d{3,}")
# CSS pixels of a point.
_PIXELS = 4 / 3

ElementTree.register_namespace("", _SVG.strip("{}"))
ElementTree.register_namespace("xlink", _XLINK.strip("{}"))


def tip(text: str) -> str:
    """What a drawn thing has as its address, for `with_titles` to find."""
    return _TIP + quote(text)


def with_titles(svg: bytes) -> bytes:
    """The same figure with addresses of `tip` as titles, which browsers show where the pointer rests on a point."""
    root = ElementTree.fromstring(svg)
    for element in root.iter(f"{_SVG}a"):
        address = element.attrib.pop(_LINK, "")
        if address.startswith(_TIP):
            element.tag = f"{_SVG}g"
            title = ElementTree.Element(f"{_SVG}title")
            title.text = unquote(address.removeprefix(_TIP))
            element.insert(0, title)
    for element in root.iter():
        for key in _PLACES & element.attrib.keys():
            element.set(key, _LONG.sub(lambda found: f"{float(found[0]):.2f}", element.attrib[key]))
    for metadata in root.findall(f"{_SVG}metadata"):
        root.remove(metadata)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def inlined(svg: bytes, name: str, caption: str) -> str:
    """A figure as an element of a page of HTML.

    Parameters
    ----------
    svg
        Content of the file.
    name
        Unlike that of any other figure of the page: what the figure refers to inside is named after it.
    caption
        What the figure shows, for those who cannot see it.
    """
    root = ElementTree.fromstring(svg)
    for sheet in root.findall(f"{_SVG}defs[{_SVG}style]"):
        # It would hold for the whole page.
        root.remove(sheet)
    used = set()
    for element in root.iter():
        used |= {found for value in element.attrib.values() for found in _REFERENCE.findall(value)}
        if element.get(_LINK, "").startswith("#"):
            used.add(element.attrib[_LINK][1:])
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {
            key.removeprefix(_XLINK): _named(key, value, name)
            for key, value in element.attrib.items()
            if key != "id" or value in used
        }
    width = float(root.attrib["width"].removesuffix("pt")) * _PIXELS
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": caption,
        "style": f"--width: {width:.0f}px",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _named(key: str, value: str, name: str) -> str:
    """A value with what it names, or refers to, named after the figure."""
    if key == "id":
        return f"{name}-{value}"
    if key == _LINK and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return _REFERENCE.sub(lambda found: f"url(#{name}-{found[1]})", value)
