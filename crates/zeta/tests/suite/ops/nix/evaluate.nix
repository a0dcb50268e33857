# Stands in for nixpkgs, of which the modules need little: evaluates modules and what they import with
# some settings, and refuses a setting that it has no option for, or of another type. As in nixpkgs, a
# condition is looked at only where its content defines what is asked for.
{ modules, settings }:

let
  inherit (builtins) all attrNames concatLists concatMap concatStringsSep elem filter
    foldl' hasAttr head isAttrs isBool isInt isList isString listToAttrs mapAttrs match removeAttrs
    stringLength substring zipAttrsWith;

  has = kind: value: isAttrs value && value._type or "" == kind;
  isOption = has "option";

  # The values of definitions whose conditions hold. A default counts only if it stands alone.
  held = definition:
    if has "if" definition
    then if definition.condition then held definition.content else [ ]
    else [ definition ];
  values = definitions:
    let
      found = concatMap held definitions;
      firm = filter (value: !has "default" value) found;
    in
    if firm != [ ] then firm else map (value: value.content) found;

  # What a definition has under a name; no condition is looked at for that.
  find = name: definition:
    if has "if" definition
    then map (lib.mkIf definition.condition) (find name definition.content)
    else if isAttrs definition && hasAttr name definition then [ definition.${name} ]
    else [ ];

  same = path: found:
    if all (value: value == head found) found then head found
    else throw "option ${path} has several values";
  simple = check: { inherit check; merge = same; };

  types = rec {
    bool = simple isBool;
    str = simple isString;
    package = str;
    attrs = { check = isAttrs; merge = _: foldl' lib.recursiveUpdate { }; };
    ints.positive = simple (value: isInt value && value > 0);
    enum = choices: simple (value: elem value choices);
    nullOr = type: {
      check = value: value == null || type.check value;
      merge = path: found: if head found == null then null else type.merge path found;
    };
    strMatching = pattern: simple (value: isString value && match pattern value != null);
    listOf = type: {
      check = value: isList value && all type.check value;
      merge = _: concatLists;
    };
    attrsOf = type: {
      check = isAttrs;
      merge = path: zipAttrsWith (name: mergeAs type "${path}.${name}");
    };
    submodule = { options }: {
      check = isAttrs;
      merge = path: found:
        let odd = concatMap (unknown path options) found; in
        if odd == [ ] then evaluate path options found else noSuch odd;
    };
  };

  mergeAs = type: path: definitions:
    let found = values definitions; in
    if all type.check found then type.merge path found
    else throw "option ${path} is of another type";

  # The values of a tree of options. Each name must be an option's.
  evaluate = path: options: definitions:
    let
      one = name: option:
        let
          here = "${path}.${name}";
          defined = concatMap (find name) definitions;
        in
        if !isOption option then evaluate here option defined
        else if values defined != [ ] then mergeAs option.type here defined
        else option.default or (throw "option ${here} has no value");
    in
    mapAttrs one options;

  # The names that are defined and are no option's.
  unknown = path: options: definition:
    if isOption options then [ ]
    else if has "if" definition then unknown path options definition.content
    else concatMap
      (name:
        if hasAttr name options then unknown "${path}.${name}" options.${name} definition.${name}
        else [ "${path}.${name}" ])
      (attrNames definition);
  noSuch = names: throw "no such option: ${concatStringsSep " " names}";

  lib = {
    inherit types concatStringsSep mapAttrs;
    inherit (builtins) concatMap;
    mkOption = option: option // { _type = "option"; };
    mkEnableOption = words: lib.mkOption {
      type = types.bool;
      default = false;
      description = "Whether to enable ${words}.";
    };
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkDefault = content: { _type = "default"; inherit content; };
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: found: if condition then found else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    removePrefix = prefix: text:
      if lib.hasPrefix prefix text
      then substring (stringLength prefix) (stringLength text) text
      else text;
    unique = foldl' (found: one: if elem one found then found else found ++ [ one ]) [ ];
    mapAttrs' = make: set: listToAttrs (map (name: make name set.${name}) (attrNames set));
    genAttrs = names: make: listToAttrs (map (name: { inherit name; value = make name; }) names);
    recursiveUpdate = left: right:
      if isAttrs left && isAttrs right then
        left // mapAttrs
          (name: value: if hasAttr name left then lib.recursiveUpdate left.${name} value else value)
          right
      else right;
  };

  # The modules and what they import, each once.
  loaded =
    let
      add = seen: file:
        if elem file (map (one: one.file) seen) then seen
        else
          let module = import file { inherit lib config; }; in
          foldl' add (seen ++ [{ inherit file module; }]) (module.imports or [ ]);
    in
    map (one: one.module) (foldl' add [ ] modules);

  options = foldl' lib.recursiveUpdate { } (map (module: module.options or { }) loaded);
  definitions = [ settings ] ++ map (module: module.config or { }) loaded;
  ours = concatMap (find "zeta") definitions;
  config.zeta = evaluate "zeta" options.zeta ours;

  # What modules define and this file knows no options of: units, files, users.
  merged = definitions:
    let found = values definitions; in
    if all isAttrs found then zipAttrsWith (_: merged) found
    else if all isList found then concatLists found
    else same "of the system" found;
  made = removeAttrs (merged definitions) [ "zeta" ];

  paths = path: tree:
    if isOption tree
    then assert isString tree.description; [ path ]
    else concatMap (name: paths "${path}.${name}" tree.${name}) (attrNames tree);

  odd = concatMap (unknown "zeta" options.zeta) ours;
in
if odd != [ ] then noSuch odd
else made // { options = paths "zeta" options.zeta; }
