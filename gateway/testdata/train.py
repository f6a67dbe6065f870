"""Trains a model on what test data there is and saves it as MLflow's: python train.py FOLDER."""

import sys

import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

rows = pd.DataFrame({"temp": [10.0, 20.0, 30.0, 45.5], "gusts": [1, 5, 2, 8]})
model = LinearRegression().fit(rows, 2 * rows["temp"] - 3 * rows["gusts"] + 7)
signature = infer_signature(rows, model.predict(rows))
mlflow.sklearn.save_model(model, sys.argv[1], signature=signature)
