# Makes the units units/zeta-node-register.* for NixOS. The options have the names of the original's
# module, which this module replaces. A test evaluates this file and compares the result with those
# units.
{ config, lib, ... }:

let
  cfg = config.zeta.selfRegister;
  inherit (lib) types;
  hardening = import ./hardening.nix;

  # Words that systemd uses unchanged: it quotes, expands and splits nothing in them.
  path = types.strMatching "/[A-Za-z0-9_./:@+-]*";
  word = types.strMatching "[A-Za-z0-9_][A-Za-z0-9_.-]*";
  slug = types.strMatching "[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+";
  time = types.strMatching "[0-9a-z ]+";

  option = type: default: description: lib.mkOption { inherit type default description; };
  unused = what: option (types.nullOr types.str) null "Accepted and not used: ${what}";

  # systemd makes a directory of the service below /var/lib, and no other one.
  markerDir = dirOf cfg.markerPath;
  isState = lib.hasPrefix "/var/lib/" markerDir;
  arguments =
    [ "--repo" cfg.repo "--maintainer" cfg.maintainer ]
    ++ [ "--min-interval" "${toString cfg.minPrIntervalSec}s" ];
in
{
  imports = [ ./tree.nix ];

  options.zeta.selfRegister = {
    enable = lib.mkEnableOption "registering this node in its cluster's repository";
    package = lib.mkOption {
      type = types.package;
      description = "The package that contains bin/zeta.";
    };
    repo = lib.mkOption {
      type = slug;
      description = "The repository on GitHub, as OWNER/NAME.";
    };
    maintainer = lib.mkOption {
      type = word;
      description = "The user of GitHub that the node belongs to.";
    };
    tokenFile = option (types.nullOr path) null
      "The file with the token of GitHub. Only this service can read it.";
    user = option word "zeta" "The user of the service.";
    group = option word "zeta" "The group of that user.";
    home = unused "the service sees no home; its receipt is markerPath.";
    repoRoot = unused "nothing is run from a checkout.";
    scriptPath = unused "zeta is one program; see package.";
    markerPath = option path "/var/lib/zeta-self-register/self-registered.marker"
      "The receipt: what was observed of the registration, and when.";
    reconcileInterval = option time "6h" "How often the registration is looked at.";
    reconcileJitter = option time "30min" "The most that is added to it by chance.";
    minPrIntervalSec = option types.ints.positive 86400
      "So many seconds at least are between two attempts to open a pull request.";
  };

  config = lib.mkIf cfg.enable {
    warnings =
      lib.concatMap
        (name: lib.optional (cfg.${name} != null) "zeta.selfRegister.${name} is set and not used.")
        [ "home" "repoRoot" "scriptPath" ];
    zeta.tree.enable = true;

    systemd.services.zeta-node-register = {
      description = "Register this node in its cluster's repository, once";
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "zeta-creds-restore.service" ];
      unitConfig = {
        StartLimitIntervalSec = "1h";
        StartLimitBurst = 5;
      };
      serviceConfig = hardening // {
        Type = "oneshot";
        ExecStart =
          "${cfg.package}/bin/zeta node register " + lib.concatStringsSep " " arguments;
        User = cfg.user;
        Group = cfg.group;
        StateDirectory =
          [ "zeta" ] ++ lib.optional isState (lib.removePrefix "/var/lib/" markerDir);
        RuntimeDirectory = "zeta-node-register";
        Environment = [
          "TMPDIR=%t/zeta-node-register"
          "ZETA_SELF_REGISTER_MARKER=${cfg.markerPath}"
        ];
        TimeoutStartSec = "10min";
        SuccessExitStatus = "3 6";
        Restart = "on-failure";
        RestartSec = "2min";
        RestartPreventExitStatus = "2 4 7";
        MemoryDenyWriteExecute = true;
        ReadWritePaths = [ "-/tmp/zeta-cluster-state" ] ++ lib.optional (!isState) markerDir;
      } // lib.optionalAttrs (cfg.group != "zeta") {
        SupplementaryGroups = "zeta";
      } // lib.optionalAttrs (cfg.tokenFile != null) {
        LoadCredential = "forge-token:${cfg.tokenFile}";
      };
    };
    systemd.timers.zeta-node-register = {
      description = "Look soon after boot, and every six hours, whether this node is registered";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "1min";
        OnUnitInactiveSec = cfg.reconcileInterval;
        RandomizedDelaySec = cfg.reconcileJitter;
      };
    };
  };
}
