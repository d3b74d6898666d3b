"""Search for schedules: candidates at equal cost, judged on some images, confirmed on others."""
