"""Work that is done again and again, and a route that does it once."""

from wisp import App

app = App("{{name}}")
SHELF = {"milk": 2, "bread": 0, "tea": 7}


@app.every("5m")
def restock() -> dict:
    """Do the work. What it returns stands in the record of the run."""
    missing = [product for product, count in SHELF.items() if not count]
    print("missing:", ", ".join(missing) or "nothing")
    return {"missing": missing}


@app.get("/now")
def now() -> dict:
    """Do it once, on request."""
    return restock()
