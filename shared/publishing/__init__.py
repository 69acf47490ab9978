"""A snapshot made ready for other people: weights, pictures, and a card that says what it is and how good it is.

What is told of every run is here. What only a task knows comes from the task, as a `Publication`.
"""
