"""What goes wrong in a way that a learner can mend."""


class CourseError(Exception):
    """The work could not be done; the message says what happened and what to do. Exit status 1."""

    exit_status = 1


class CourseUsageError(CourseError):
    """A name, an option or a setting cannot be used. Exit status 2."""

    exit_status = 2
