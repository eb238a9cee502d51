"""The chat course's tutor: answers from the lessons, without a neural network."""
