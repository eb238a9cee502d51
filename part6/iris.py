"""What is measured of a flower, and what the flowers are called."""

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
LABELS = (0, 1, 2)
LABEL_NAMES = ("setosa", "versicolor", "virginica")
MAX_CM = 30.0  # the longest petal of any iris is below 15 cm; twice that is a broken ruler
