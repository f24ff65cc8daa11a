from attacks import *
