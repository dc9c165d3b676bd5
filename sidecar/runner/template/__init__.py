"""The templates of hooks: a subset of Go's text/template, checked when it is read.

What is read without an error renders without one: every field, function and argument is
known to fit beforehand, so that nothing goes wrong in the night.
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
