#include "cli/commands.hpp"

int main(int argc, char** argv) { return pando::cli::run_command(argc, argv); }
