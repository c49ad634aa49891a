/*-------------------------------------------------------------------------
 *
 * testing.h
 *	  Pause points and mutants, in a build with -DES_TESTING only.
 *
 * A pause point lets a test stop a session between two steps: while the setting
 * eventstore.pause_at names the point, the session waits there for the advisory
 * lock ES_PAUSE_LOCK.  A mutant, chosen by the setting eventstore.mutant, leaves
 * out or misplaces one step of the protocol; the tests must notice each of them.
 *
 * In an ordinary build both vanish.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TESTING_H
#define ES_TESTING_H

#ifdef ES_TESTING

#define ES_PAUSE_LOCK 20220

extern void es_testing_init(void);
extern void es_pause(const char *point);
extern bool es_mutant(const char *name);

#define ES_PAUSE(point) es_pause(point)
#define ES_MUTANT(name) es_mutant(name)

#else

#define es_testing_init() ((void) 0)
#define ES_PAUSE(point) ((void) 0)
#define ES_MUTANT(name) false

#endif

#endif							/* ES_TESTING_H */
