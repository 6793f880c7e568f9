struct bad {
    int a;
};
