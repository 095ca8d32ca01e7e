import numpy
import pandas


def handle(event, context):
    frame = pandas.DataFrame({"x": numpy.arange(4)})
    return str(int(frame["x"].sum()))
