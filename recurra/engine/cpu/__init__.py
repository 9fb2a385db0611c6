"""The CPU back end: schedules to LLVM IR with explicit vectors, compiled in this process for this processor."""
