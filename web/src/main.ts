import { mount } from 'svelte';
import App from './ui/App.svelte';
import { App as State } from './ui/app.svelte';
import './ui/app.css';

mount(App, { target: document.getElementById('app')!, props: { app: new State() } });
