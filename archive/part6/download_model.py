"""Download the model of a run into this folder.   (As first taught. Frozen.)

Nothing had to change for MLflow 3. It no longer keeps a model among the files of its run, but when
`runs:/ID/NAME` is not among them, it looks for a model of that name which the run has logged.

What is wrong here, what happens because of it, and where it is mended:

1. Keys are in the code, and every machine that serves a model holds the keys of the artifact
   store. -> part6/settings.py; the MLflow server hands artifacts on, clients need no key
2. A run id is the only way in, copied by hand from the web page. And the name is not that of the
   registered model but what the run called it: for the new scripts' runs it is `model`.
   -> --alias champion, part6/choosing.py
3. Nothing is compared. With 20,000 zero bytes in the store instead of the model, or with no model
   file at all, it prints "Downloaded" and exits with 0. -> SHA-256 of all files, part6/fetch.py
4. It writes file by file into the folder that is served. One that is killed leaves half of the new
   model on top of the old one, and files that only the old one had stay for ever.
   -> a folder of its own, named by its content, and one rename, part6/model_folder.py
5. It takes every model: of other columns, of another library, a pickle. The server finds out when
   it starts, or with the first request. -> refused before it lies there, part6/download_model.py
6. Nobody can say later which model lies in the folder. -> manifest.json, part6/manifest.py
7. With the MLflow server gone it is silent for four minutes and ends in a traceback; with the
   artifact store gone it is silent for longer. -> one line after seconds, part6/registry.py
8. MLflow hides why a download failed: whatever it was, the message asks you to "ensure that the
   path is correct". -> the files are listed and asked for one by one, part6/fetch.py
9. `import mlflow` comes before the options are read: `--help` takes 1.5 seconds of CPU time, and
   a forgotten --run-id ends in a traceback about a run `None`.
   -> imported where it is needed, part6/registry.py
"""

import os
from argparse import ArgumentParser

import mlflow

# 0. set mlflow environments
os.environ["MLFLOW_S3_ENDPOINT_URL"] = "http://localhost:9000"
os.environ["MLFLOW_TRACKING_URI"] = "http://localhost:5001"
os.environ["AWS_ACCESS_KEY_ID"] = "minio"
os.environ["AWS_SECRET_ACCESS_KEY"] = "miniostorage"

# 1. download the model's files
parser = ArgumentParser()
parser.add_argument("--model-name", dest="model_name", type=str, default="sk_model")
parser.add_argument("--run-id", dest="run_id", type=str)
args = parser.parse_args()

folder = mlflow.artifacts.download_artifacts(
    artifact_uri=f"runs:/{args.run_id}/{args.model_name}", dst_path="."
)
print("Downloaded :", folder)
