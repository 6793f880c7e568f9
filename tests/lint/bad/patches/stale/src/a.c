/* Three lines. */
int one;
int two;
int three;
