"""MLflow's plug-in: runs that ``mlflow`` starts say what training sets this process read.

It is found by itself where both packages are installed; nothing has to be called.
"""

from __future__ import annotations

from mlflow.tracking.context.abstract_context import RunContextProvider

from driftline import context


class DriftlineRunContext(RunContextProvider):
    """Gives new runs the tag ``driftline.inputs``."""

    def in_context(self) -> bool:
        """Reports whether a training set was retrieved."""
        return bool(context.current())

    def tags(self) -> dict[str, str]:
        """Returns the tag."""
        return {context.INPUTS_TAG: ",".join(context.began())}
