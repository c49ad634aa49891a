"""The events that are written: their type and their data."""

import json
import random

TYPE = "ItemAdded"

_ITEM = {
    "sku": "SKU-48215-BLU", "name": "Enamelled steel mug, blue, 350 ml", "quantity": 2, "currency": "EUR",
    "unit_price": "14.90", "tax_rate": "0.21", "warehouse": "RTM-2", "added_by": "customer", "channel": "web",
    "note": "gift wrapping, no invoice inside",
}


def data(size):
    """A JSON object of so many bytes; 0 is an everyday one of 254.  What makes it longer is
    random, so that it does not compress away."""
    if size == 0:
        return json.dumps(_ITEM)
    letters = random.Random(size)
    empty = json.dumps({"sku": _ITEM["sku"], "note": ""})
    note = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size - len(empty)))
    return json.dumps({"sku": _ITEM["sku"], "note": note})


def events(count, size):
    """The events parameter of one call."""
    return "[" + ", ".join([f'{{"type": "{TYPE}", "data": {data(size)}}}'] * count) + "]"
