"""Pipeline flights.

Written by driftline export airflow: change the pipeline and write it again.
"""

import os
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

FOLDER = os.environ.get("DRIFTLINE_PIPELINE_FOLDER", "/srv/flights")

with DAG(
    dag_id="flights",
    description="Late \"departures\"",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["driftline"],
) as dag:
    step_validate = BashOperator(
        task_id="validate",
        bash_command="'true' ",
        cwd=FOLDER,
        append_env=True,
        env={
            "AS_OF": "2013-04-01",
            "DRIFTLINE_PIPELINE": "flights",
            "DRIFTLINE_STEP": "validate",
        },
        execution_timeout=timedelta(seconds=3600),
    )
    step_features = BashOperator(
        task_id="features",
        bash_command="'true' ",
        cwd=FOLDER,
        append_env=True,
        env={
            "AS_OF": "2013-04-01",
            "DRIFTLINE_PIPELINE": "flights",
            "DRIFTLINE_STEP": "features",
        },
        execution_timeout=timedelta(seconds=3600),
    )
    step_train = BashOperator(
        task_id="train",
        bash_command="'python' 'train.py' '--name' 'it'\\''s {{ '{{' }} no }} template' ",
        cwd=FOLDER,
        append_env=True,
        env={
            "AS_OF": "2013-04-01",
            "DRIFTLINE_PIPELINE": "flights",
            "DRIFTLINE_STEP": "train",
        },
        retries=2,
        retry_delay=timedelta(seconds=1.5),
        retry_exponential_backoff=True,
        execution_timeout=timedelta(seconds=7200),
    )
    step_gate = BashOperator(
        task_id="gate",
        bash_command="'sh' '-eu' '-c' 'driftline gate late@candidate\necho done' ",
        cwd=FOLDER,
        append_env=True,
        env={
            "AS_OF": "another",
            "DRIFTLINE_PIPELINE": "flights",
            "DRIFTLINE_STEP": "gate",
        },
        doc="Is it \\ good enough?",
        execution_timeout=timedelta(seconds=3600),
    )
    step_deploy = BashOperator(
        task_id="deploy",
        bash_command="'./deploy.sh' ",
        cwd=FOLDER,
        append_env=True,
        env={
            "AS_OF": "2013-04-01",
            "DRIFTLINE_PIPELINE": "flights",
            "DRIFTLINE_STEP": "deploy",
        },
        execution_timeout=timedelta(seconds=3600),
    )
    [step_validate] >> step_features
    [step_features] >> step_train
    [step_train] >> step_gate
    [step_gate] >> step_deploy
