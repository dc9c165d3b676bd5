"""The templates of hooks: a subset of Go's text/template, checked when it is read.

In come a text and later the values of an event; out comes the rendered text. A template that is
parsed without an error renders without one, unless it asks for an item that a list does not have:
every field, function and argument is checked beforehand, so that little fails in the night.
"""

from sidecar.runner.template.evaluate import Template, parse_template
from sidecar.runner.template.lexer import TemplateError
from sidecar.runner.template.values import Values, event_name

__all__ = [
    "Template",
    "TemplateError",
    "Values",
    "event_name",
    "parse_template",
]
