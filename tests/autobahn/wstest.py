# Starts Autobahn's `wstest` from a folder that is on nobody's path: wstest.py FOLDER ARGUMENTS. For Python 2.7.
import site
import sys

site.addsitedir(sys.argv.pop(1))

from autobahntestsuite import wstest

wstest.run()
