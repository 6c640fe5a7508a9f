"""Runs one of Swift's programs with a swift.conf of its own.

usage: swiftd.py SWIFT_CONF PROGRAM [ARGUMENT...]

Storage policies, hash prefix and constraints are read from /etc/swift/swift.conf whatever swift_dir
says, once per process and when the modules that hold them are first imported: so the path is
changed before that.
"""
import runpy
import sys

import swift.common.utils

swift.common.utils.SWIFT_CONF_FILE = sys.argv[1]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name='__main__')
