/* The commands of casemix: one function a command, one file each. argv[0] is the command's name.
 * A command returns false with the error filled; main prints it and chooses the exit status. */
#ifndef CASEMIX_CLI_COMMANDS_H
#define CASEMIX_CLI_COMMANDS_H

#include <stdbool.h>

#define CASEMIX_VERSION "0.1.0"

struct error;

bool command_audit(int argc, char **argv, struct error *error);
bool command_bench(int argc, char **argv, struct error *error);
bool command_drg(int argc, char **argv, struct error *error);
bool command_eval(int argc, char **argv, struct error *error);
bool command_export(int argc, char **argv, struct error *error);
bool command_generate(int argc, char **argv, struct error *error);
bool command_key(int argc, char **argv, struct error *error);
bool command_metrics(int argc, char **argv, struct error *error);
bool command_predict(int argc, char **argv, struct error *error);
bool command_prepare(int argc, char **argv, struct error *error);
bool command_rationales(int argc, char **argv, struct error *error);
bool command_report(int argc, char **argv, struct error *error);
bool command_reward(int argc, char **argv, struct error *error);
bool command_serve(int argc, char **argv, struct error *error);
bool command_synth(int argc, char **argv, struct error *error);
bool command_tokenize(int argc, char **argv, struct error *error);
bool command_train(int argc, char **argv, struct error *error);

#endif
