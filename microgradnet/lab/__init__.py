"""The misconception lab, for teachers: deliberately wrong engines, and marks for hand-written backward code.

``misconceptions()`` lists the wrong ideas, ``demonstrate(name)`` shows one on the smallest graph that reveals
it, ``compare(name, model, loss_fn, x, y)`` on any model, and ``grade(student_backward, layer)`` marks a
student's work. The right engine is the library's own and stays untouched.
"""

from microgradnet.lab.catalogue import Misconception, misconceptions
from microgradnet.lab.comparison import Comparison, Entry, compare, demonstrate
from microgradnet.lab.grading import Grade, Mark, grade

__all__ = [
    "Comparison",
    "Entry",
    "Grade",
    "Mark",
    "Misconception",
    "compare",
    "demonstrate",
    "grade",
    "misconceptions",
]
