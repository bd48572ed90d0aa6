"""What tasks that hold another have of it, and what a task is beneath all that hold it."""

from jaxgen.tasks.task import Regression, Task


class Around(Task):
    """Base of tasks that hold another in a field `task`: whatever they do not say themselves is what that says."""

    task: Task

    @property
    def outputs(self) -> int:
        return self.task.outputs

    @property
    def vocabulary(self) -> int | None:
        return self.task.vocabulary

    @property
    def practice(self):
        return self.task.practice

    def rows(self) -> dict[str, int]:
        return self.task.rows()

    def counts(self) -> dict[str, int]:
        return self.task.counts()

    def correct(self, outputs, labels):
        return self.task.correct(outputs, labels)

    def metrics(self, seen):
        return self.task.metrics(seen)


def innermost(task: Task) -> Task:
    """The task that all those around it are about; the task itself where it is around none."""
    while isinstance(task, Around):
        task = task.task
    return task


def has_classes(task: Task) -> bool:
    """Whether labels are classes, of which the largest output is the answer."""
    while isinstance(task, Around):
        if type(task).correct is not Around.correct:
            return False
        task = task.task
    return type(task).correct is Task.correct and not isinstance(task, Regression)
