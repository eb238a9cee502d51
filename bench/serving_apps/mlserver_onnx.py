"""The model in MLServer as a runtime of one's own, around the same ONNX session as ours."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri
from onnxruntime import InferenceSession, SessionOptions


class OnnxModel(MLModel):  # type: ignore[misc]
    """Classes and scores of the rows of a request."""

    async def load(self) -> bool:
        """Open the file that model-settings.json names."""
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        file = await get_model_uri(self._settings)
        self._session = InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Ask the session."""
        rows = self.decode_request(payload, default_codec=NumpyRequestCodec)
        classes, scores = self._session.run(None, {"rows": rows})
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("predict", classes),
                NumpyCodec.encode_output("scores", scores),
            ],
        )
