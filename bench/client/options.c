/*
 * options.c
 *	  The command line, which the driver writes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

Options		options = {.clients = 1, .seconds = 1, .aggregates = 1, .stride = 1, .key_length = 16,
.batch = 1, .random_below = 1, .warm_calls = 7, .retry = ""};

void
die(const char *format,...)
{
	va_list		args;

	fputs("load: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void
add_constant(char *definition)
{
	char	   *value = strchr(definition, '=');

	if (value == NULL || options.constants == MAX_CONSTANTS)
		die("-D takes name=value, at most %d times", MAX_CONSTANTS);
	*value = '\0';
	options.names[options.constants] = definition;
	options.values[options.constants++] = value + 1;
}

/* Returns the path of the script. */
const char *
read_options(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "c:w:m:t:n:a:o:s:hk:v:b:e:r:R:D:")) != -1)
	{
		switch (option)
		{
			case 'c': options.clients = atoi(optarg); break;
			case 'w': options.warmup = atof(optarg); break;
			case 'm': options.warm_calls = atol(optarg); break;
			case 't': options.seconds = atof(optarg); break;
			case 'n': options.calls = atol(optarg); break;
			case 'a': options.aggregates = atol(optarg); break;
			case 'o': options.offset = atol(optarg); break;
			case 's': options.stride = atol(optarg); break;
			case 'h': options.hot = true; break;
			case 'k': options.key_length = atoi(optarg); break;
			case 'v': options.version = atol(optarg); break;
			case 'b': options.batch = atoi(optarg); break;
			case 'e': options.writes = atoi(optarg); break;
			case 'r': options.retry = optarg; break;
			case 'R': options.random_below = atol(optarg); break;
			case 'D': add_constant(optarg); break;
			default: exit(2);
		}
	}
	if (options.hot && options.aggregates < options.clients)
		options.aggregates = options.clients;
	if (optind != argc - 1 || options.clients < 1 || options.aggregates < options.clients ||
		options.key_length < 8 || options.key_length > 512 || options.random_below < 1)
		die("bad arguments; the driver knows them");
	return argv[optind];
}
