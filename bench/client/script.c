/*
 * script.c
 *	  Scripts: statements that end with a semicolon at the end of a line, with
 *	  variables like :key.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

static char *
read_file(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char	   *text = calloc(1, 65536);

	if (file == NULL || text == NULL)
		die("cannot read %s", path);
	if (fread(text, 1, 65535, file) == 65535)
		die("%s is too long", path);
	fclose(file);
	return text;
}

/* Comments are whole lines. */
static void
remove_comments(char *text)
{
	char	   *to = text;

	for (char *line = text; *line != '\0';)
	{
		size_t		length = strcspn(line, "\n");

		if (line[length] == '\n')
			length++;
		if (strncmp(line, "--", 2) != 0)
		{
			memmove(to, line, length);
			to += length;
		}
		line += length;
	}
	*to = '\0';
}

static Param
find_variable(const char *name, size_t length)
{
	static const struct
	{
		const char *name;
		Variable	variable;
	}			known[] = {
		{"key", KEY}, {"version", VERSION}, {"next_version", NEXT_VERSION}, {"new_key", NEW_KEY},
		{"writes", WRITES}, {"random", RANDOM}
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
	{
		if (strlen(known[i].name) == length && strncmp(known[i].name, name, length) == 0)
			return (Param) {known[i].variable, NULL};
	}
	for (int i = 0; i < options.constants; i++)
	{
		if (strlen(options.names[i]) == length && strncmp(options.names[i], name, length) == 0)
			return (Param) {CONSTANT, options.values[i]};
	}
	die("no variable \"%.*s\": give it with -D", (int) length, name);
}

/* The number of a variable in a statement, from 1. */
static int
param_number(Statement *statement, Param param)
{
	int			i;

	for (i = 0; i < statement->nparams; i++)
	{
		if (statement->params[i].variable == param.variable &&
			statement->params[i].constant == param.constant)
			return i + 1;
	}
	if (i == MAX_PARAMS)
		die("too many variables in a statement");
	statement->params[statement->nparams++] = param;
	return i + 1;
}

/* "::" is a cast, and nothing inside quotes is a variable. */
static void
replace_variables(Statement *statement, const char *text, size_t length)
{
	char	   *to = statement->sql = malloc(length * 2 + 1);
	bool		quoted = false;

	if (to == NULL)
		die("out of memory");
	for (size_t i = 0; i < length; i++)
	{
		size_t		name = i + 1;
		size_t		end = name;

		if (text[i] == '\'')
			quoted = !quoted;
		while (end < length && (isalnum((unsigned char) text[end]) || text[end] == '_'))
			end++;
		if (!quoted && text[i] == ':' && end > name && (i == 0 || text[i - 1] != ':'))
		{
			to += sprintf(to, "$%d", param_number(statement, find_variable(text + name, end - name)));
			i = end - 1;
		}
		else
			*to++ = text[i];
	}
	*to = '\0';
}

Script
read_script(const char *path)
{
	Script		script = {0, NULL};
	char	   *text = read_file(path);

	remove_comments(text);
	for (char *end; (end = strstr(text, ";\n")) != NULL; text = end + 2)
	{
		Statement  *statement;

		script.statements = realloc(script.statements, sizeof(Statement) * (script.count + 1));
		if (script.statements == NULL)
			die("out of memory");
		statement = memset(&script.statements[script.count++], 0, sizeof(Statement));
		snprintf(statement->name, sizeof(statement->name), "s%d", script.count);
		replace_variables(statement, text, (size_t) (end - text));
	}
	if (script.count == 0 || strspn(text, " \t\n") != strlen(text))
		die("%s does not end with a semicolon", path);
	return script;
}
