"""The `course` command: the embedded servers, the demo and a doctor for the learner's machine."""
