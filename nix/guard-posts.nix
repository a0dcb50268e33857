# Makes the units units/zeta-guard-post*.* for NixOS, and the files that they read: posts.toml and a
# file for each persona. The options have the names of the original's registry. A test evaluates this
# file, compares the units with the shipped ones, and has zeta read the files.
{ config, lib, ... }:

let
  cfg = config.zeta.guardPosts;
  inherit (config.zeta.guardPostScheduler) rotation;
  inherit (lib) types;
  toml = import ./toml.nix;
  hardening = import ./hardening.nix;

  # Words that systemd uses unchanged: it quotes, expands and splits nothing in them.
  path = types.strMatching "/[A-Za-z0-9_./:@+-]*";
  word = types.strMatching "[A-Za-z0-9_][A-Za-z0-9_.-]*";

  option = type: default: description: lib.mkOption { inherit type default description; };
  needed = type: description: lib.mkOption { inherit type description; };

  tier = types.submodule {
    options = {
      binary = needed types.str "The program.";
      invocationArgs = option (types.listOf types.str) [ ] ''
        Its arguments. {prompt}, {persona}, {post}, {line}, {tier} and {session} stand for what the
        tick has.
      '';
    };
  };
  line = types.submodule {
    options.tiers = needed (types.attrsOf tier) "The programs for high, medium and fast.";
  };
  persona = types.submodule {
    options = {
      preferences = {
        modelLines = needed (types.listOf types.str) "Model lines, the best first.";
        harnesses = needed (types.listOf types.str) "Harnesses, the best first.";
        minTier = option (types.enum [ "fast" "medium" "high" ]) "fast"
          "The weakest tier that the persona works with.";
      };
      repository = option (types.nullOr path) null
        "The repository of which the persona has a worktree.";
      prompt = option (types.nullOr types.str) null "What the persona is asked at each tick.";
    };
  };

  posts = lib.recursiveUpdate
    {
      posts.count = cfg.count;
      rotation = { inherit (rotation) enable interval dimensions policy; };
      inherit (cfg) modelLineCatalog harnessCompat;
    }
    cfg.settings;
  personaFile = { preferences, repository, prompt }: toml {
    inherit (preferences) modelLines harnesses minTier;
    inherit repository prompt;
  };

  # Of the homes, agents need that of their user and the repositories. git writes into these.
  isHidden = path: builtins.any (root: lib.hasPrefix root "${path}/") [ "/home/" "/root/" ];
  repositories = lib.unique (builtins.filter (path: path != null)
    ([ (cfg.settings.ticks.repository or null) ]
    ++ map (name: cfg.personas.${name}.repository) (builtins.attrNames cfg.personas)));
  homes = paths:
    let
      elsewhere = path: isHidden path && !lib.hasPrefix "${cfg.home}/" "${path}/";
      shown = lib.optional (isHidden cfg.home) cfg.home
        ++ map (path: "-${path}") (builtins.filter elsewhere paths);
    in
    lib.optionalAttrs (shown != [ ]) { ProtectHome = "tmpfs"; BindPaths = shown; };
  service = hardening // {
    User = cfg.user;
    Group = cfg.group;
    LimitCORE = "0";
    Environment = "PATH=" + lib.concatStringsSep ":" (
      map (dir: "${cfg.home}/${dir}") [ ".local/bin" ".bun/bin" ".local/share/mise/shims" ]
      ++ [ "/run/current-system/sw/bin" ]
    );
  } // lib.optionalAttrs (cfg.group != "zeta") {
    SupplementaryGroups = "zeta";
  };
in
{
  imports = [ ./tree.nix ];

  options.zeta.guardPosts = {
    enable = lib.mkEnableOption "the guard posts of this machine";
    package = needed types.package "The package that contains bin/zeta.";
    count = option types.ints.positive 3 "The number of posts.";
    user = option word "zeta" "The user whom the agents run as.";
    group = option word "zeta" "The group of that user.";
    home = option path "/var/lib/zeta" "The home of that user. The agents may write there.";
    restartSec = option types.ints.positive 30
      "After how many seconds a supervisor that failed is started again.";
    personas = option (types.attrsOf persona) { } "The personas, by name.";
    modelLineCatalog = option (types.attrsOf line) { } "The model lines, by name.";
    harnessCompat = option (types.attrsOf (types.listOf types.str)) { }
      "The harnesses of a persona on a line, as in \"otto+openai\".";
    settings = option types.attrs { } ''
      More of posts.toml: its tables ticks and failover, and probe and outage of lines.
    '';
  };
  options.zeta.guardPostScheduler.rotation = {
    enable = option types.bool true "Whether the posts change hands.";
    interval = option types.str "1d" "How long a turn lasts.";
    dimensions = option (types.listOf (types.enum [ "persona" "model" "tier" "harness" ]))
      [ "persona" ] "What changes.";
    policy = option (types.enum [ "round-robin" "random" "least-recently-used" ])
      "round-robin" "Who comes next.";
  };

  config = lib.mkIf cfg.enable {
    zeta.tree = { enable = true; user = cfg.user; };

    environment.etc = {
      "zeta/posts.toml".text = toml posts;
    } // lib.mapAttrs' (name: value: {
      name = "zeta/personas.d/${name}.toml";
      value.text = personaFile value;
    }) cfg.personas;

    systemd.targets.zeta-guard-posts = {
      description = "The guard posts of this machine, and their scheduler";
      wantedBy = [ "multi-user.target" ];
      wants = builtins.genList (at: "zeta-guard-post@${toString (at + 1)}.service") cfg.count
        ++ [ "zeta-guard-post-scheduler.timer" ];
    };

    systemd.services."zeta-guard-post@" = {
      description = "Guard post %i: the agent that the scheduler sends there";
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "zeta-creds-restore.service" ];
      partOf = [ "zeta-guard-posts.target" ];
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = service // {
        Type = "notify";
        ExecStart = "${cfg.package}/bin/zeta post run %i --config /etc/zeta --dir /var/lib/zeta";
        WatchdogSec = "2min";
        TimeoutStartSec = "1min";
        KillMode = "mixed";
        TimeoutStopSec = "1min";
        Restart = "on-failure";
        RestartSec = "${toString cfg.restartSec}s";
        RestartPreventExitStatus = "2";
        Delegate = true;
        OOMPolicy = "continue";
        Slice = "zeta.slice";
        ReadWritePaths = [
          "/tmp/zeta-cluster-state"
          "/tmp"
          "/var/tmp"
          "-/sys/fs/cgroup/zeta.slice/%n"
        ] ++ map (path: "-${path}") (builtins.filter (path: !isHidden path) repositories);
        PrivateMounts = true;
        RestrictNamespaces = "user mnt pid net";
        SystemCallFilter = [ "@system-service" "@mount" "~@resources" ];
      } // homes repositories;
    };

    systemd.services.zeta-guard-post-scheduler = {
      description = "Decide who stands at the guard posts, and with what";
      after = [ "zeta-creds-restore.service" ];
      serviceConfig = service // {
        Type = "oneshot";
        ExecStart = "${cfg.package}/bin/zeta post tick --config /etc/zeta --dir /var/lib/zeta";
        SuccessExitStatus = "3";
        TimeoutStartSec = "5min";
        ReadWritePaths = [ "/tmp/zeta-cluster-state" "-/tmp/zeta-bus" ];
      } // homes [ ];
    };
    systemd.timers.zeta-guard-post-scheduler = {
      description = "Look every minute who stands at the guard posts";
      partOf = [ "zeta-guard-posts.target" ];
      timerConfig = {
        OnBootSec = "15s";
        OnUnitInactiveSec = "1min";
        AccuracySec = "1s";
      };
    };
  };
}
