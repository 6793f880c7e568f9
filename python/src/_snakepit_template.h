/* The template's part of the extension: functions that only a template process calls. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_TEMPLATE_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_TEMPLATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Both add functions to the module. 0, or -1 with an exception. */
int template_add(PyObject *module);
int template_socket_add(PyObject *module);

#endif
