"""A step of a data pipeline: CSV in, Parquet out, with what was wrong told by line.

wisp deploy examples/etl
curl --data-binary @sales.csv http://127.0.0.1:8080/fn/etl -o totals.parquet
"""

import csv
import io
from collections import defaultdict
from datetime import date
from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.parquet as pq

import wisp

COLUMNS = ("day", "product", "quantity", "price")
SCHEMA = pa.schema(
    [("day", pa.date32()), ("product", pa.string()), ("quantity", pa.int64()), ("revenue", pa.decimal128(18, 2))]
)


def handle(event, context):
    """Answer Parquet, or 422 with the lines that can't be read."""
    reader = csv.DictReader(io.StringIO(event.http.body.decode("utf-8-sig")))
    if reader.fieldnames is None or set(COLUMNS) - set(reader.fieldnames):
        return wisp.Response({"error": f"the first line must name {', '.join(COLUMNS)}"}, 422)
    totals, wrong = summed(reader)
    if wrong:
        return wisp.Response({"error": "some lines can't be read", "lines": wrong[:100]}, 422)
    context.log.info("%d groups", len(totals))
    headers = {"content-disposition": 'attachment; filename="totals.parquet"'}
    return wisp.Response(parquet(totals), headers=headers, content_type="application/vnd.apache.parquet")


def summed(reader):
    """Return the totals by (day, product), and what is wrong with which line."""
    totals = defaultdict(lambda: [0, Decimal(0)])
    wrong = []
    for row in reader:
        try:
            quantity, price = int(row["quantity"]), Decimal(row["price"])
            total = totals[date.fromisoformat(row["day"]), row["product"]]
        except (ValueError, InvalidOperation, TypeError) as error:
            wrong.append({"line": reader.line_num, "error": str(error)})
            continue
        total[0] += quantity
        total[1] += quantity * price
    return totals, wrong


def parquet(totals):
    """Return the totals as the bytes of a Parquet file, in order."""
    rows = [(day, product, count, revenue) for (day, product), (count, revenue) in sorted(totals.items())]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMA)
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()
