"""musterd-notify: tells desktop users before and after a session of theirs is ended, and takes their answer.

A client of musterd's bus and of the desktop's session bus; it knows neither the machine nor the manager.
"""
