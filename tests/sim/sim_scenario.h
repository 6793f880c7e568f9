/* Between the files of the scenario. */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include "sim.h"

enum { CALLERS = 6, TOOL_CALLERS = 26 /* calls that tools have made, at a time */ };

struct live { /* what a canceller may reach for */
    pit_canceller *canceller;
    pit_future *future;
    struct ask *ask;
    bool taken;
};

struct ask *new_ask(int form, pit_call_options *o);
pit_value *ask_arguments(const struct ask *a);
void call_blocking(struct live *l, int form);
void call_something(struct live *l);
struct live *take_live(void); /* for a tool that calls; NULL: there is none */
int64_t some_time_ms(void);
void dawdle(unsigned most_us);
bool scenario_closing(void);

#endif
