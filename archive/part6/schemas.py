"""What a request and its answer hold.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. A measurement is any float. A sepal of -5 cm and one of 10,000 km are setosa, with status 200;
   NaN and Infinity pass too and break the model. -> Centimetres, part6/messages.py
2. Pydantic converts what is no number: "5.1" becomes 5.1 and true becomes 1.0, so that a mistake of
   the client is answered with a class. -> strict, part6/messages.py
3. A field that does not exist is dropped without a word. -> extra="forbid", part6/messages.py
4. One row is all that fits: a thousand flowers are a thousand requests. -> Batch,
   part6/messages.py
5. The answer is a bare number. It has no name of the class, no scores, and does not say which
   version of the model gave it. -> Prediction, part6/messages.py
6. /docs shows zeros as example, a flower that does not exist. -> examples, part6/messages.py
"""

from pydantic import BaseModel


class PredictIn(BaseModel):
    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class PredictOut(BaseModel):
    iris_class: int
