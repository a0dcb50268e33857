# The options that zeta.aiAgents and zeta.otto have in common.
{ lib }:

let
  inherit (lib) types;
  option = type: default: description: lib.mkOption { inherit type default description; };
in
{
  package = lib.mkOption {
    type = types.package;
    description = "The package that contains bin/zeta.";
  };
  user = option types.str "zeta" "The user whom the agents run as.";
  group = option types.str "users" "The group of that user.";
  home = option types.str "/home/zeta" "The home of that user.";
  tickIntervalSec = option types.ints.positive 60 "Seconds from one tick to the next.";
  memoryMax = option types.str "4G" "The most memory of one tick.";
  cpuQuota = option types.str "200%" "The most CPU time of one tick, in percent of one core.";
  restartSec = option types.ints.positive 30
    "After how many seconds a supervisor that failed is started again.";
}
